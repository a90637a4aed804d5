"""Numba's compiler with a pass of our own (plumbing)."""

from numba.core import types
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.ir import Expr, SetItem
from numba.core.typed_passes import NopythonTypeInference
from numba.core.typing import signature


@register_pass(mutates_CFG=False, analysis_only=False)
class CountFromTheFront(FunctionPass):
    """Indices that are computed count from the front: no kernel computes a negative one.

    Without this each access asks whether to count from the end, which took an eighth of an
    asynchronous step (measured).  Only a constant, such as -1, may be negative.
    """

    _name = "count_from_the_front"

    def __init__(self):
        super().__init__()

    def run_pass(self, state):
        for place, found in list(state.calltypes.items()):
            if isinstance(place, SetItem) or (isinstance(place, Expr) and place.op == "getitem"):
                array, index, *value = found.args
                if isinstance(array, types.Array) and isinstance(index, types.Integer):
                    del state.calltypes[place]  # it refuses to be overwritten
                    state.calltypes[place] = signature(
                        found.return_type, array, types.uintp, *value
                    )
        return True


class Compiler(CompilerBase):
    """Numba's own with that pass."""

    def define_pipelines(self):
        pipeline = DefaultPassBuilder.define_nopython_pipeline(self.state)
        pipeline.add_pass_after(CountFromTheFront, NopythonTypeInference)
        pipeline.finalize()
        return [pipeline]
