"""One discriminator step and one generator step, over all chunks and processes."""

import numpy as np
import torch
from torch import Tensor

from trainer.configuration.config import TrainingConfig
from trainer.configuration.schedule import Phase
from trainer.networks.progressive import InputNoise
from trainer.randomness import Indices, Stream, keyed_normal, keyed_seed, keyed_uniform
from trainer.training.batches import chunk_rows, group_size
from trainer.training.data import RealImages, to_network_range
from trainer.training.distributed import World, sum_gradients, sum_over_ranks
from trainer.training.losses import real_fade, update_gdrop
from trainer.training.objectives import Objectives
from trainer.training.optimizer import Adam
from trainer.training.progress import Averages
from trainer.training.state import TrainingState


class Steps:
    """Adds up gradients chunk by chunk and applies them.

    Latents, labels and mix factors are keyed to the position of a row in the stream of real images, so
    the numbers do not depend on how the rows are divided among chunks and processes.
    """

    def __init__(
        self,
        config: TrainingConfig,
        state: TrainingState,
        data: RealImages,
        device: torch.device,
        world: World,
    ) -> None:
        self.config, self.state, self.data, self.device, self.world = config, state, data, device, world
        self.objectives = Objectives(config, state.G, state.D, device)
        self.averages = Averages()
        self.phase: Phase | None = None

    def configure(self, phase: Phase) -> None:
        """Prepare for the steps of a phase."""
        runtime = self.config.runtime
        grown = self.phase is None or self.phase.resolution != phase.resolution
        if runtime.compile and grown:
            self.objectives = compiled(self.config, self.state, self.device)
        self.phase = phase
        self.resolution, self.minibatch = phase.resolution, phase.minibatch
        fade = phase.lod - int(phase.lod)
        # As a tensor the fade can change without a new compilation.
        self.fade = torch.tensor(fade, device=self.device) if runtime.compile and fade > 0 else fade
        chunk = runtime.minibatch_gpu[phase.resolution]
        group = group_size(self.config, phase.minibatch, chunk)
        # [chunk] each: the rows of the minibatch that this process takes in one pass
        self.chunks = chunk_rows(phase.minibatch, chunk, group)[self.world.rank :: self.world.size]
        self.share = chunk / phase.minibatch
        self.data.configure(phase.resolution, phase.minibatch, np.concatenate(self.chunks))

    def discriminator_gradients(self) -> dict[str, Tensor]:
        """Sum up D's gradients over the minibatch whose first real has position `state.nimg`.

        Returns:
            Loss, scores and penalty, 0-d, means over the minibatch.
        """
        self.state.D_adam.zero_grad()
        means: dict[str, Tensor] = {}
        for positions, reals, labels in self.real_chunks():
            fakes, fake_labels = self.fakes(positions)
            values = self.add_critic_gradients(positions, reals, labels, fakes, fake_labels)
            if self.config.loss.kind == "wgan-gp":
                # The penalty's graph is its own: one after the other, the two need less memory.
                values["penalty"] = self.add_penalty_gradients(positions, reals, fakes)
                values["loss_D"] = values["loss_D"] + values["penalty"]
            add_to(means, values, self.share)
        return self._summed(means, self.state.D_adam)

    def generator_gradients(self) -> dict[str, Tensor]:
        """Sum up G's gradients over one minibatch of latents.

        Returns:
            The loss, 0-d, mean over the minibatch.
        """
        self.state.G_adam.zero_grad()
        # A joint step takes D's fakes; else they are fresh, keyed to the reals shown so far.
        joint = self.config.train.joint_step
        latent_stream = Stream.D_LATENTS if joint else Stream.G_LATENTS
        label_stream = Stream.D_LABELS if joint else Stream.G_LABELS
        means: dict[str, Tensor] = {}
        self.state.D.requires_grad_(False)  # D only passes the gradient on
        for rows in self.chunks:
            positions = self.state.nimg + rows
            loss = self.objectives.generator_loss(
                self.latents(latent_stream, positions),
                self.drawn_labels(label_stream, positions),
                self.resolution,
                self.fade,
                self._noise(positions),
            )
            torch.autograd.backward(loss * self.share)
            add_to(means, {"loss_G": loss.detach()}, self.share)
        self.state.D.requires_grad_(True)
        return self._summed(means, self.state.G_adam)

    def real_chunks(self) -> list[tuple[Indices, Tensor, Tensor | None]]:
        """Positions, faded images `[n, C, r, r]` and labels of the next reals, for each chunk."""
        assert self.phase is not None
        images, labels = self.data.next(self.state.nimg)
        images = to_network_range(images.to(self.device, non_blocking=True))
        images = real_fade(images, self.phase.lod)
        sizes = [len(rows) for rows in self.chunks]
        image_chunks = torch.split(images, sizes)
        label_chunks = [None] * len(sizes) if labels is None else torch.split(labels.to(self.device), sizes)
        positions = [self.state.nimg + rows for rows in self.chunks]
        return list(zip(positions, image_chunks, label_chunks, strict=True))

    def fakes(self, positions: Indices) -> tuple[Tensor, Tensor | None]:
        """The fakes that D sees beside the reals at these positions, and their labels."""
        labels = self.drawn_labels(Stream.D_LABELS, positions)
        latents = self.latents(Stream.D_LATENTS, positions)
        return self.objectives.fakes(latents, labels, self.resolution, self.fade), labels

    def add_critic_gradients(
        self,
        positions: Indices,
        reals: Tensor,
        labels: Tensor | None,
        fakes: Tensor,
        fake_labels: Tensor | None,
    ) -> dict[str, Tensor]:
        """Add one chunk's gradients of D's loss, the penalty apart."""
        loss, real_score, fake_score = self.objectives.discriminator_loss(
            reals, labels, fakes, fake_labels, self.resolution, self.fade, self._noise(positions)
        )
        torch.autograd.backward(loss * self.share)
        return {"loss_D": loss.detach(), "score_real": real_score, "score_fake": fake_score}

    def add_penalty_gradients(self, positions: Indices, reals: Tensor, fakes: Tensor) -> Tensor:
        """Add one chunk's gradients of the penalty."""
        factors = keyed_uniform(self.config.train.seed, Stream.MIX_FACTORS, positions).astype(np.float32)
        mix = torch.from_numpy(factors).to(self.device)[:, :, None, None]  # [n, 1, 1, 1]
        penalty = self.objectives.penalty(reals, fakes, mix, self.resolution, self.fade)
        torch.autograd.backward(penalty * self.share)
        return penalty.detach()

    def apply(self, adam: Adam, means: dict[str, Tensor]) -> bool:
        """Update weights, unless the loss or a gradient is not finite; says whether it did."""
        assert self.phase is not None
        norms = torch._foreach_norm(list(adam.gradients().values()))
        finite = bool(torch.isfinite(torch.stack([*norms, *means.values()])).all())
        if finite:
            self.averages.add(means)
            adam.step(self.phase.learning_rate)
        return finite

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
        return torch.from_numpy(drawn).to(self.device, non_blocking=True)

    def drawn_labels(self, stream: Stream, positions: Indices) -> Tensor | None:
        """`[n, label_size]`, rows of the data set; None for networks without labels."""
        labels = self.data.drawn_labels(stream, positions)
        return None if labels is None else labels.to(self.device, non_blocking=True)

    def _noise(self, positions: Indices) -> InputNoise:
        seed = keyed_seed(self.config.train.seed, Stream.NOISE, int(positions[0]))
        return self.objectives.noise(self.state.gdrop_strength, seed)

    def _summed(self, means: dict[str, Tensor], adam: Adam) -> dict[str, Tensor]:
        sum_gradients(adam.parameters.values(), self.world)
        totals = sum_over_ranks(torch.stack(list(means.values())), self.world)
        return dict(zip(means, totals.unbind(), strict=True))


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
