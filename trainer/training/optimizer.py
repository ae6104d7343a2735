"""Adam as the original trainers have it."""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn


class Adam:
    """Adam in the form of TensorFlow and Lasagne: epsilon is added to the uncorrected root.

        p -= rate * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps)

    PyTorch's own divides v by (1 - b2^t) before the root, which makes its epsilon up to ten times smaller.
    The step count t is the optimizer's, not each parameter's; parameters without a gradient (the layers
    above the current resolution) keep their values and moments.

    Source: Kingma & Ba 2015, the last paragraph of section 2.
    """

    def __init__(
        self,
        named_parameters: Iterable[tuple[str, nn.Parameter]],
        *,
        beta1: float = 0.0,
        beta2: float = 0.99,
        eps: float = 1e-8,
    ) -> None:
        self.parameters = dict(named_parameters)
        self.beta1, self.beta2, self.eps = beta1, beta2, eps
        self._kept: list[Tensor] = []
        self._kept_names: list[str] = []
        self._kept_t = 0
        self.reset()

    def reset(self) -> None:
        """Forget both moments and the step count."""
        self.t = 0
        self.first = {name: torch.zeros_like(p) for name, p in self.parameters.items() if self.beta1}
        self.second = {name: torch.zeros_like(p) for name, p in self.parameters.items()}

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for parameter in self.parameters.values():
            parameter.grad = None

    def gradients(self) -> dict[str, Tensor]:
        """The gradients that there are, by name."""
        return {name: p.grad for name, p in self.parameters.items() if p.grad is not None}

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update every parameter that has a gradient."""
        gradients = self.gradients()
        names, grads = list(gradients), list(gradients.values())
        if not names:
            return
        self.t += 1
        rate = learning_rate * math.sqrt(1 - self.beta2**self.t) / (1 - self.beta1**self.t)
        parameters: list[Tensor] = [self.parameters[name] for name in names]
        second = [self.second[name] for name in names]
        torch._foreach_mul_(second, self.beta2)
        torch._foreach_addcmul_(second, grads, grads, 1 - self.beta2)
        if self.beta1:
            first = [self.first[name] for name in names]
            torch._foreach_lerp_(first, grads, 1 - self.beta1)
        else:
            first = grads
        denominator = torch._foreach_sqrt(second)
        torch._foreach_add_(denominator, self.eps)
        torch._foreach_addcdiv_(parameters, first, denominator, -rate)

    @torch.no_grad()
    def remember(self) -> None:
        """Keep the values that the next step will change, for `take_back`."""
        names = list(self.gradients())
        values = self._values(names)
        if [value.shape for value in self._kept] != [value.shape for value in values]:
            self._kept = [torch.empty_like(value) for value in values]
        if values:
            torch._foreach_copy_(self._kept, values)
        self._kept_names, self._kept_t = names, self.t

    @torch.no_grad()
    def take_back(self) -> None:
        """Undo the steps since `remember`."""
        if self._kept_names:
            torch._foreach_copy_(self._values(self._kept_names), self._kept)
        self.t = self._kept_t

    def _values(self, names: list[str]) -> list[Tensor]:
        groups: list[Mapping[str, Tensor]] = [self.parameters, self.first, self.second]
        return [group[name] for group in groups for name in names if name in group]

    def state_dict(self) -> dict[str, Tensor]:
        """Moments and step count as plain tensors: `t`, `first.NAME`, `second.NAME`."""
        state = {"t": torch.tensor(self.t)}
        state |= {f"first.{name}": value for name, value in self.first.items()}
        state |= {f"second.{name}": value for name, value in self.second.items()}
        return state

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state_dict` returned."""
        self.t = int(state["t"])
        for name, value in self.first.items():
            value.copy_(state[f"first.{name}"])
        for name, value in self.second.items():
            value.copy_(state[f"second.{name}"])
