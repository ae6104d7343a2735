"""One discriminator step and one generator step, over all chunks and processes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from celebahq.errors import is_out_of_memory
from celebahq.processes import World
from trainer.configuration.config import TrainingConfig
from trainer.configuration.schedule import Phase
from trainer.networks.progressive import InputNoise, input_noise, no_noise
from trainer.randomness import Indices, Stream, keyed_normal, keyed_uniform
from trainer.training.augment import COLUMNS, Augment, augment, unchanged
from trainer.training.data import RealImages, to_network_range, upload
from trainer.training.distributed import sum_gradients
from trainer.training.losses import real_fade, update_gdrop
from trainer.training.memory import smaller_passes
from trainer.training.objectives import Objectives
from trainer.training.optimizer import Adam
from trainer.training.passes import (
    DiscriminatorInputs,
    GeneratorInputs,
    Timed,
    discriminator_pass,
    generator_pass,
    untimed,
)
from trainer.training.plan import StepPlan, plan_steps
from trainer.training.progress import Averages
from trainer.training.state import TrainingState

CPU = torch.device("cpu")


class PassesTooLargeError(Exception):
    """Memory has run out in a pass."""


@dataclass(frozen=True)
class Unseen:
    """An update of D that was made in the hope that its gradients are finite."""

    means: dict[str, Tensor]
    """Loss and scores, 0-d."""
    finite: Tensor
    """0-d bool: whether they and the gradients are."""


def ignore(config: TrainingConfig) -> None:
    """Where nobody asks for the passes."""


class Steps:
    """Adds up gradients chunk by chunk and applies them.

    Latents, labels, mix factors and noise are keyed to the position of a row in the stream of real images, so
    the numbers do not depend on how the rows are divided among chunks and processes.
    """

    def __init__(
        self,
        config: TrainingConfig,
        state: TrainingState,
        data: RealImages,
        device: torch.device,
        world: World,
        timed: Timed = untimed,
        passes_changed: Callable[[TrainingConfig], None] = ignore,
    ) -> None:
        """Prepare; nothing is computed.

        Args:
            config: The run.
            state: What the steps change.
            data: Real images.
            device: Of this process.
            world: The processes.
            timed: Told when parts of a step begin and end: data, D, penalty, G, update.
            passes_changed: Told when memory has run out and smaller passes were chosen.
        """
        self.config, self.state, self.data, self.device, self.world = config, state, data, device, world
        self.timed, self.passes_changed = timed, passes_changed
        self.averages = Averages()
        self._objectives = Objectives(config, state.G, state.D, device)
        self._compiled_for = 0  # resolution
        self.waits_once = device.type != "cpu" and not config.loss.gdrop_coefficient
        """Whether D's update goes unseen until G's gradients are there. Nobody waits for a CPU, and
        `adapt_noise` wants D's loss at once."""

    def plan(self, phase: Phase) -> StepPlan:
        """What the steps of a phase look like on this process."""
        return plan_steps(self.config, phase, self.world, self.device)

    def within_memory(
        self, phase: Phase, gradients: Callable[[StepPlan], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """One of the functions below, in smaller passes when memory runs out: the same sums in more parts.

        Raises:
            ToolError: There are no smaller passes.
        """
        while True:
            try:
                return gradients(self.plan(phase))
            except PassesTooLargeError:
                pass  # and with the exception goes what the failed pass holds
            self.config = smaller_passes(self.config, phase, self.world)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self.passes_changed(self.config)

    def discriminator_gradients(self, plan: StepPlan) -> dict[str, Tensor]:
        """Sum up D's gradients over the minibatch whose first real has position `state.nimg`.

        Returns:
            Loss, scores and penalty, 0-d, means over the minibatch.

        Raises:
            PassesTooLargeError: A process has run out of memory.
        """
        self.state.D_adam.zero_grad()
        objectives = self.objectives(plan.resolution)
        means: dict[str, Tensor] = {}
        with self._enough_memory():
            for inputs in self.discriminator_inputs(plan):
                values = discriminator_pass(
                    objectives, inputs, plan.resolution, plan.fade, plan.share, self.timed
                )
                add_to(means, values, plan.share)
        return self._summed(means, self.state.D_adam)

    def generator_gradients(self, plan: StepPlan) -> dict[str, Tensor]:
        """Sum up G's gradients over one minibatch of latents.

        Returns:
            The loss, 0-d, mean over the minibatch.

        Raises:
            PassesTooLargeError: A process has run out of memory.
        """
        self.state.G_adam.zero_grad()
        objectives = self.objectives(plan.resolution)
        means: dict[str, Tensor] = {}
        with self.timed("G"), self._enough_memory():
            for inputs in self.generator_inputs(plan):
                values = generator_pass(objectives, inputs, plan.resolution, plan.fade, plan.share)
                add_to(means, values, plan.share)
        return self._summed(means, self.state.G_adam)

    def objectives(self, resolution: int) -> Objectives:
        """The functions to differentiate at a resolution."""
        if self.config.runtime.compile and self._compiled_for != resolution:
            self._objectives = compiled(self.config, self.state, self.device)
            self._compiled_for = resolution
        return self._objectives

    def discriminator_inputs(self, plan: StepPlan) -> Iterator[DiscriminatorInputs]:
        """What each pass of D takes."""
        with self.timed("data"):
            chunks = self.real_chunks(plan)
        for positions, reals, labels in chunks:
            yield DiscriminatorInputs(
                reals,
                labels,
                self.latents(Stream.D_LATENTS, positions),
                self.drawn_labels(Stream.D_LABELS, positions),
                self.mix_factors(positions),
                self.noise(Stream.NOISE_REALS, positions, plan.resolution),
                self.noise(Stream.NOISE_FAKES, positions, plan.resolution),
                self.noise(Stream.NOISE_MIXED, positions, plan.resolution),
                self.augment(Stream.AUGMENT_REALS, positions),
                self.augment(Stream.AUGMENT_FAKES, positions),
            )

    def generator_inputs(self, plan: StepPlan) -> Iterator[GeneratorInputs]:
        """What each pass of G takes.

        In a joint step these are D's latents; else fresh ones, keyed to the reals shown so far.
        """
        joint = self.config.train.joint_step
        latent_stream = Stream.D_LATENTS if joint else Stream.G_LATENTS
        label_stream = Stream.D_LABELS if joint else Stream.G_LABELS
        for rows in plan.chunks:
            positions = self.state.nimg + rows
            yield GeneratorInputs(
                self.latents(latent_stream, positions),
                self.drawn_labels(label_stream, positions),
                self.noise(Stream.NOISE_G, positions, plan.resolution),
                self.augment(Stream.AUGMENT_G, positions),
            )

    def real_chunks(self, plan: StepPlan) -> list[tuple[Indices, Tensor, Tensor | None]]:
        """Positions, faded images `[n, C, r, r]` and labels of the next reals, for each chunk."""
        images, labels = self.data.next(self.state.nimg, plan)
        images = to_network_range(upload(images, self.device))
        images = real_fade(images, plan.phase.lod)
        sizes = [len(rows) for rows in plan.chunks]
        image_chunks = torch.split(images, sizes)
        label_chunks = (
            [None] * len(sizes) if labels is None else torch.split(upload(labels, self.device), sizes)
        )
        positions = [self.state.nimg + rows for rows in plan.chunks]
        return list(zip(positions, image_chunks, label_chunks, strict=True))

    def apply(
        self, adam: Adam, means: dict[str, Tensor], learning_rate: float, finite: bool | None = None
    ) -> bool:
        """Update weights, unless the loss or a gradient is not finite; says whether it did.

        Args:
            adam: Of the network.
            means: Loss and scores.
            learning_rate: Of the step.
            finite: Whether they are, where that is known; else the device is waited for.
        """
        with self.timed("update"):
            finite = bool(all_finite(adam, means)) if finite is None else finite
            if finite:
                self.averages.add(means)
                adam.step(learning_rate)
            return finite

    def apply_unseen(self, means: dict[str, Tensor], learning_rate: float) -> Unseen:
        """Update D without waiting to hear whether that was right; `confirm` undoes it if not."""
        with self.timed("update"):
            adam = self.state.D_adam
            finite = all_finite(adam, means)
            adam.remember()
            adam.step(learning_rate)
            return Unseen(means, finite)

    def confirm(self, unseen: Unseen, means: dict[str, Tensor]) -> tuple[bool, bool]:
        """Whether D's update was right, and whether G's loss and gradients are finite: one wait for both."""
        flags = torch.stack([unseen.finite, all_finite(self.state.G_adam, means)])
        D_finite, G_finite = flags.cpu().tolist()
        if D_finite:
            self.averages.add(unseen.means)
        else:
            self.state.D_adam.take_back()
        return D_finite, G_finite

    def adapt_noise(self, loss: Tensor) -> None:
        """Adapt the strength of D's multiplicative noise to D's loss."""
        coefficient = self.config.loss.gdrop_coefficient
        if coefficient:
            state = self.state
            state.gdrop_average, state.gdrop_strength = update_gdrop(
                state.gdrop_average, float(loss), coefficient
            )

    def latents(self, stream: Stream, positions: Indices) -> Tensor:
        """`[n, latent_size]` from N(0, 1)."""
        size = self.config.generator.latent_size
        drawn = keyed_normal(self.config.train.seed, stream, positions, size)
        return upload(torch.from_numpy(drawn), self.device)

    def drawn_labels(self, stream: Stream, positions: Indices) -> Tensor | None:
        """`[n, label_size]`, rows of the data set; None for networks without labels."""
        labels = self.data.drawn_labels(stream, positions)
        return None if labels is None else upload(labels, self.device)

    def mix_factors(self, positions: Indices) -> Tensor:
        """`[n, 1, 1, 1]`, uniform in 0..1."""
        factors = keyed_uniform(self.config.train.seed, Stream.MIX_FACTORS, positions).astype(np.float32)
        return upload(torch.from_numpy(factors), self.device)[:, :, None, None]

    def noise(self, stream: Stream, positions: Indices, resolution: int) -> InputNoise:
        """Multiplicative noise for D's layers, of each image's own."""
        strength = self.state.gdrop_strength
        if strength == 0.0:
            return no_noise
        maps = self.state.D.noise_maps(resolution)
        draws = keyed_normal(self.config.train.seed, stream, positions, maps)
        return input_noise(strength, upload(torch.from_numpy(draws), self.device))

    def augment(self, stream: Stream, positions: Indices) -> Augment:
        """Changes of images before D sees them, of each image's own."""
        kinds = self.config.data.augmentations
        if not kinds:
            return unchanged
        numbers = keyed_uniform(self.config.train.seed, stream, positions, COLUMNS).astype(np.float32)
        draws = upload(torch.from_numpy(numbers), self.device)
        return lambda images: augment(images, draws, kinds)

    @contextmanager
    def _enough_memory(self) -> Iterator[None]:
        """Where one process fails to allocate, all give the step up together."""
        failed = False
        try:
            yield
        except (RuntimeError, MemoryError) as err:
            if not is_out_of_memory(err):
                raise
            failed = True
        if self.world.any(failed, CPU):  # asked through the CPU, no process waits for its GPU
            raise PassesTooLargeError

    def _summed(self, means: dict[str, Tensor], adam: Adam) -> dict[str, Tensor]:
        sum_gradients(adam.parameters.values(), self.world)
        totals = self.world.sum(torch.stack(list(means.values())))
        return dict(zip(means, totals.unbind(), strict=True))


def all_finite(adam: Adam, means: dict[str, Tensor]) -> Tensor:
    """Whether all gradients and means are finite, 0-d bool; nobody waits for it here."""
    norms = torch._foreach_norm(list(adam.gradients().values()))
    return torch.isfinite(torch.stack([*norms, *means.values()])).all()


def add_to(sums: dict[str, Tensor], values: dict[str, Tensor], weight: float) -> None:
    """Add weighted values, name by name."""
    for name, value in values.items():
        sums[name] = sums[name] + value * weight if name in sums else value * weight


def compiled(config: TrainingConfig, state: TrainingState, device: torch.device) -> Objectives:
    """The objectives, each compiled as a whole; once per resolution, as the networks grow."""
    torch._dynamo.reset()
    objectives = Objectives(config, state.G, state.D, device)
    for name in ("fakes", "discriminator_loss", "penalty", "generator_loss"):
        setattr(objectives, name, torch.compile(getattr(objectives, name)))
    return objectives
