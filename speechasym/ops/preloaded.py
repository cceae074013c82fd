"""Import this before workers are forked: each would otherwise load numba's registries (0.3 s)."""

from numba.core.registry import cpu_target

cpu_target.typing_context.refresh()
cpu_target.target_context.refresh()
