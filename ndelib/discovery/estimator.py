"""What scikit-learn asks of an estimator, without scikit-learn: parameters that are arguments, and fitted attributes.

Source: Buitinck et al., API design for machine learning software, ECML PKDD workshop 2013. ``sklearn.base.clone`` and
its searches work with these classes.
"""

import inspect
from typing import Any, Self


class NotFittedError(ValueError, AttributeError):
    """Something was asked of an estimator that only ``fit`` can tell."""


class Estimator:
    """An object whose parameters are the arguments of its ``__init__``, kept under their names."""

    @classmethod
    def _parameter_names(cls) -> list[str]:
        taken = inspect.signature(cls.__init__).parameters.values()
        return [p.name for p in taken if p.name != "self" and p.kind is not p.VAR_POSITIONAL]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name; with ``deep`` also those of parts, as ``part__name``."""
        parameters = {name: getattr(self, name) for name in self._parameter_names()}
        if deep:
            for name, part in list(parameters.items()):
                if hasattr(part, "get_params") and not isinstance(part, type):
                    parameters |= {f"{name}__{inner}": value for inner, value in part.get_params().items()}
        return parameters

    def set_params(self, **parameters: Any) -> Self:
        """Set parameters by name, those of parts as ``part__name``; returns the estimator."""
        for name, value in parameters.items():
            mine, _, inner = name.partition("__")
            if mine not in self._parameter_names():
                known = ", ".join(self._parameter_names())
                raise ValueError(f"{type(self).__name__} has no parameter {mine!r}; it has {known}")
            if inner:
                getattr(self, mine).set_params(**{inner: value})
            else:
                setattr(self, mine, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        shown = [
            f"{name}={value!r}"
            for name, value in self.get_params(deep=False).items()
            if value is not defaults[name].default and value != defaults[name].default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def _check_fitted(self, attribute: str) -> None:
        if not hasattr(self, attribute):
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet: call fit first")
