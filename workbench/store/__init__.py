"""The run folder: samples, records, table and manifest, each written whole or not at all."""

from workbench.store.errors import SchemaError, StoreError, disk_errors
from workbench.store.folder import RunFolder
from workbench.store.index import COLUMNS
from workbench.store.manifest import build_manifest
from workbench.store.records import Record

__all__ = [
    "COLUMNS",
    "Record",
    "RunFolder",
    "SchemaError",
    "StoreError",
    "build_manifest",
    "disk_errors",
]
