"""Child processes with limits, in which everything runs that a tenant could make misbehave.

A *cell* is forked from the *zygote*, a process that has the code loaded and never held an AWS credential, a Kubernetes
token or a tenant's value. Knows neither databases nor templates: it runs the methods of any object that is sent to it.
"""

from rotated_secrets.cells.cell import Cell, CellFailed
from rotated_secrets.cells.cells import Cells, CellSettings
from rotated_secrets.cells.confinement import hide_memory
from rotated_secrets.cells.limits import CellLimits

__all__ = ["Cell", "CellFailed", "CellLimits", "CellSettings", "Cells", "hide_memory"]
