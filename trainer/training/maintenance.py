"""What happens between ticks: figures, grids, snapshots, training states."""

import copy
import dataclasses
import logging
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch

from celebahq.pictures.encoding import save_png
from celebahq.pictures.grids import image_grid
from celebahq.processes import World
from trainer.configuration.config import TrainingConfig
from trainer.configuration.schedule import Phase, TrainingSchedule
from trainer.configuration.settings import to_dict
from trainer.networks.batchnorm import freeze_batch_statistics
from trainer.randomness import Stream
from trainer.storage.checkpoint import prune_states, snapshot_path
from trainer.storage.runs import REALS, Run
from trainer.training.changes import keep_config
from trainer.training.costs import StepCost
from trainer.training.data import TrainingData
from trainer.training.distributed import check_replicas
from trainer.training.progress import Clock, Report, TimeLeft, peak_memory_gb
from trainer.training.state import TrainingState, save_state
from trainer.use.grids import enlarge, grid_shape
from trainer.use.run_page import write_run_page
from trainer.use.snapshot import Snapshot, load_snapshot, save_snapshot

log = logging.getLogger(__name__)

GRID_SEED = 0
BATCH_NORM_SEED = 1
BATCH_NORM_LATENTS = 10_000
GRID_BATCH_NORM_LATENTS = 1_000  # a grid need not be as exact as a snapshot
BATCH_NORM_MINIBATCH = 100
LABEL_ROWS = 1024  # of the data set, kept in snapshots for drawing labels


class Maintenance:
    """Keeps a run's folder up to date; only rank 0 writes.

    Nothing here changes the training state but its tick counters, so a run that is killed and continued
    ends in the same weights.
    """

    def __init__(
        self,
        run: Run,
        state: TrainingState,
        data: TrainingData,
        schedule: TrainingSchedule,
        costs: dict[int, StepCost],
        device: torch.device,
        world: World,
    ) -> None:
        self.run, self.state, self.data = run, state, data
        self.schedule, self.device, self.world = schedule, device, world
        self.report = Report(run.folder, nimg=state.nimg, is_main=world.is_main)
        self.report.configuration(to_dict(run.config), state.nimg)
        flops = {resolution: cost.flops for resolution, cost in costs.items()}
        self.time_left = TimeLeft(schedule, flops, run.config.train.total_kimg, self.report.earlier_ticks())
        self.label_rows = keyed_label_rows(data)
        self.clock = Clock()
        self.clock_nimg = state.nimg

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.report.__exit__(kind, value, trace)

    def at_start(self) -> None:
        """Save a first state, and what a run that was killed meanwhile still owes to its last tick."""
        if self.world.is_main:
            if self.state.nimg == 0:
                save_state(self.run, self.state)
            if not (self.run.folder / REALS).exists():
                self.save_reals()
            if self.state.tick_nimg == self.state.nimg:
                self._save_what_is_due(last=self._finished(), missing_only=True)
            write_run_page(self.run.folder)
        self.world.wait()
        self.clock.restart()

    def tick(self, phase: Phase, means: dict[str, float], *, last: bool) -> None:
        """Report one tick and save what is due; first the state, as measuring may take long."""
        state, snapshot = self.state, self.run.config.snapshot
        state.tick += 1
        state.tick_nimg = state.nimg
        check_replicas(state.G, self.world)
        self._report(phase, means)
        if self.world.is_main:
            if last or state.tick % snapshot.state_ticks == 0:
                save_state(self.run, state)
                prune_states(
                    self.run.folder,
                    keep_last=snapshot.keep_last,
                    keep_every_ticks=snapshot.keep_every * snapshot.state_ticks,
                )
            self._save_what_is_due(last=last)
            write_run_page(self.run.folder)
        self.world.wait()
        self.clock.restart()
        self.clock_nimg = state.nimg

    def passes_changed(self, config: TrainingConfig) -> None:
        """Memory has run out: keep the smaller passes for the next resume as well."""
        previous, self.run = self.run.config, dataclasses.replace(self.run, config=config)
        if self.world.is_main:
            passes = ", ".join(f"{r}: {chunk}" for r, chunk in config.runtime.minibatch_gpu.items())
            log.info(f"out of memory: continues with images per pass {{{passes}}}")
            keep_config(self.run, "out of memory", self.state.nimg, previous)

    def _finished(self) -> bool:
        return self.state.nimg >= round(self.run.config.train.total_kimg * 1000)

    def _save_what_is_due(self, *, last: bool, missing_only: bool = False) -> None:
        """The tick's images, snapshot and measurement."""
        state, snapshot = self.state, self.run.config.snapshot
        if last or state.tick % snapshot.image_ticks == 0:
            path = self._grid_path(last=last)
            if not (missing_only and path.exists()):
                self.save_fakes(path)
        if last or state.tick % snapshot.network_ticks == 0:
            path = snapshot_path(self.run.folder, state.nimg)
            if not (missing_only and path.exists()):
                save_snapshot(path, self._averaged(BATCH_NORM_LATENTS))
            if snapshot.metric_images and not (missing_only and self.report.is_measured(state.nimg)):
                self.measure(path)

    def _grid_path(self, *, last: bool) -> Path:
        """`fakesNNNNNN.png` (kimg); `fakesNNNNNN_NNN.png` where kimg alone might name two grids."""
        kimg, images = divmod(self.state.nimg, 1000)
        tick_kimg = self.schedule.at(self.state.phase_nimg / 1000).tick_kimg
        apart = tick_kimg * self.run.config.snapshot.image_ticks >= 1 and not last
        return self.run.folder / (
            f"fakes{kimg:06d}.png" if apart or not images else f"fakes{kimg:06d}_{images:03d}.png"
        )

    def save_reals(self) -> None:
        """`reals.png`: images of the data set at full resolution."""
        resolution = self.run.config.schedule.resolution
        columns, rows = grid_shape(resolution)
        images = self.data.reader.read(np.arange(columns * rows) % len(self.data), resolution)
        picture = image_grid(images, columns)
        save_png(self.run.folder / REALS, picture)
        self.report.picture("reals", picture, self.state.nimg)

    def save_fakes(self, path: Path) -> None:
        """A grid of the same latents throughout the run, enlarged to full resolution."""
        resolution = self.run.config.schedule.resolution
        columns, rows = grid_shape(resolution)
        images = self._averaged(GRID_BATCH_NORM_LATENTS).generate(GRID_SEED, range(columns * rows))
        picture = image_grid(enlarge(images, resolution).numpy(), columns)
        save_png(path, picture)
        self.report.picture("fakes", picture, self.state.nimg)

    def save_state(self) -> None:
        """The training state, between ticks."""
        if self.world.is_main:
            save_state(self.run, self.state)
        self.world.wait()

    def measure(self, path: Path) -> None:
        """SWD and MS-SSIM of a snapshot."""
        from trainer.use.evaluate import measure_snapshot

        config, run = self.run.config, self.run
        images, size = config.snapshot.metric_images, config.schedule.resolution
        snapshot = load_snapshot(path, self.device)
        figures = measure_snapshot(snapshot, run.data, run.folder, self.device, images=images, size=size)
        self.report.metrics({"nimg": self.state.nimg, "kimg": self.state.nimg / 1000, **figures})

    def _averaged(self, batch_norm_latents: int) -> Snapshot:
        """The averaged generator as it is used afterwards: on statistics frozen from seeded latents."""
        config = self.run.config
        generator = self.state.Gs
        if config.generator.use_batchnorm:
            generator = copy.deepcopy(generator)
        snapshot = Snapshot(
            generator=generator,
            config=config,
            nimg=self.state.nimg,
            lod=self.schedule.at(self.state.phase_nimg / 1000).lod,
            label_rows=self.label_rows,
        )
        starts = range(0, batch_norm_latents, BATCH_NORM_MINIBATCH)
        minibatches = (range(start, start + BATCH_NORM_MINIBATCH) for start in starts)
        freeze_batch_statistics(
            generator,
            (
                (snapshot.latents(BATCH_NORM_SEED, indices), snapshot.labels(BATCH_NORM_SEED, indices))
                for indices in minibatches
            ),
            snapshot.lod,
        )
        return snapshot

    def _report(self, phase: Phase, means: dict[str, float]) -> None:
        state = self.state
        elapsed_sec = max(self.clock.seconds(), 1e-9)
        shown = state.nimg - self.clock_nimg
        sec_per_kimg = elapsed_sec / max(shown / 1000, 1e-9)
        self.time_left.update(phase.resolution, sec_per_kimg)
        kimg = state.nimg / 1000
        self.report.tick(
            {
                "tick": state.tick,
                "nimg": state.nimg,
                "kimg": kimg,
                "lod": phase.lod,
                "resolution": phase.resolution,
                "minibatch": phase.minibatch,
                "learning_rate": phase.learning_rate,
                "images_per_sec": shown / elapsed_sec,
                "sec_per_kimg": sec_per_kimg,
                "tick_sec": elapsed_sec,
                "memory_gb": peak_memory_gb(self.device),
                "left_sec": self.time_left.seconds(kimg),
                "skipped_steps": state.skipped_steps,
                **means,
            }
        )


def keyed_label_rows(data: TrainingData) -> torch.Tensor | None:
    """Labels for generated images, `[M, label_size]`: as frequent as in the data; None without labels."""
    return data.drawn_labels(Stream.GENERATE_LABELS, np.arange(LABEL_ROWS))
