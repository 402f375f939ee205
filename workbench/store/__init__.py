"""The run folder: samples, records, table and manifest, each written whole or not at all.

Readers never write: only the process that holds `RunFolder.claim` puts a table on the disk.
"""

from workbench.store.errors import SchemaError, StoreError, disk_errors
from workbench.store.failures import Failure, failures
from workbench.store.folder import RunFolder, RunStatus, Scan
from workbench.store.manifest import ModelsInUse, build_manifest, conditions_here
from workbench.store.schema import (
    COLUMNS,
    FACTS,
    Executor,
    Manifest,
    Record,
    SourceEntry,
    cell_facts,
    plain,
    plan_of,
)
from workbench.store.table import build_table

__all__ = [
    "COLUMNS",
    "FACTS",
    "Executor",
    "Failure",
    "Manifest",
    "ModelsInUse",
    "Record",
    "RunFolder",
    "RunStatus",
    "Scan",
    "SchemaError",
    "SourceEntry",
    "StoreError",
    "build_manifest",
    "build_table",
    "cell_facts",
    "conditions_here",
    "disk_errors",
    "failures",
    "plain",
    "plan_of",
]
