"""The training loop [Karras et al. 2018, sections 2-4 and appendix A]: one readable sequence."""

import signal

import torch

from celebahq.errors import ToolError
from celebahq.processes import World
from trainer.configuration.schedule import TrainingSchedule
from trainer.networks.ema import update_average
from trainer.storage.runs import Run
from trainer.training.data import TrainingData
from trainer.training.interrupt import Interrupt, Interrupted
from trainer.training.maintenance import Maintenance
from trainer.training.state import TrainingState, save_state
from trainer.training.steps import CPU, Steps


class NonFiniteError(ToolError):
    """A loss or a gradient is infinite or not a number."""


def training_loop(
    run: Run,
    state: TrainingState,
    data: TrainingData,
    maintenance: Maintenance,
    device: torch.device,
    world: World,
) -> None:
    """Train from the given state until the run's `total_kimg` images were shown.

    Raises:
        NonFiniteError: A loss or gradient is not finite, and `train.on_nan` is "stop"; the state was saved.
        Interrupted: A signal came; the state was saved.
    """
    config = run.config
    schedule = TrainingSchedule(config.schedule)
    steps = Steps(config, state, data, device, world, passes_changed=maintenance.passes_changed)
    total_nimg = round(config.train.total_kimg * 1000)

    maintenance.at_start()
    with Interrupt() as interrupt:
        while state.nimg < total_nimg:
            # Look up the schedule; forget Adam's moments at both ends of a fade.
            phase = schedule.at(state.nimg / 1000)
            if config.train.reset_optimizers and phase.resets_optimizer(schedule.at(state.phase_nimg / 1000)):
                state.G_adam.reset()
                state.D_adam.reset()
            state.phase_nimg = state.nimg

            for _ in range(config.train.minibatch_repeats):
                # Train the discriminator on the next reals. A joint step takes G's gradients here as well,
                # from the same latents and the same discriminator.
                unseen = None
                for left in reversed(range(config.train.d_repeats)):
                    means = steps.within_memory(phase, steps.discriminator_gradients)
                    joint_means = {}
                    if config.train.joint_step:
                        joint_means = steps.within_memory(phase, steps.generator_gradients)
                    if steps.waits_once and not left:
                        unseen = steps.apply_unseen(means, phase.learning_rate)
                    elif steps.apply(state.D_adam, means, phase.learning_rate):
                        steps.adapt_noise(means["loss_D"])
                    else:
                        skip_or_stop("D", run, state, world)
                    state.nimg += phase.minibatch

                # Train the generator on fresh latents, after it was averaged as it is.
                means = joint_means or steps.within_memory(phase, steps.generator_gradients)
                finite = None
                if unseen is not None:
                    D_finite, finite = steps.confirm(unseen, means)
                    if not D_finite:
                        state.nimg -= phase.minibatch
                        skip_or_stop("D", run, state, world)
                        state.nimg += phase.minibatch
                        means = joint_means or steps.within_memory(phase, steps.generator_gradients)
                        finite = None
                update_average(state.Gs, state.G, config.train.ema_beta)
                if not steps.apply(state.G_adam, means, phase.learning_rate, finite):
                    skip_or_stop("G", run, state, world)

            # Once per tick: report, images, snapshots, state.
            finished = state.nimg >= total_nimg
            if finished or state.nimg - state.tick_nimg >= phase.tick_kimg * 1000:
                maintenance.tick(phase, steps.averages.take(), last=finished)

            # Leave when asked to, with everything saved.
            if world.any(interrupt.requested > 0, CPU) and not finished:
                maintenance.save_state()
                number = interrupt.requested or signal.SIGTERM  # another process has received it
                raise Interrupted(f"the state at {state.nimg / 1000:.1f} kimg is saved", number)


def skip_or_stop(network: str, run: Run, state: TrainingState, world: World) -> None:
    """Count a step that was not applied because its loss or gradients are not finite, or end the run."""
    state.skipped_steps += 1
    if run.config.train.on_nan == "skip":
        return
    if world.is_main:
        save_state(run, state)
    raise NonFiniteError(
        run.folder,
        f"{network}'s loss or gradients are not finite after {state.nimg / 1000:.1f} kimg; the "
        f"state before that step is saved, `trainer resume {run.folder} --on-nan skip` leaves such steps out",
    )
