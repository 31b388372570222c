"""Sources of training and evaluation batches. They know nothing of models."""

from sam.tasks.babi import BAbI
from sam.tasks.copy import Copy
from sam.tasks.data_task import DataTask
from sam.tasks.lookup import Lookup
from sam.tasks.lookup_vectors import VectorLookup
from sam.tasks.mqar import MQAR
from sam.tasks.needle import Needle
from sam.tasks.ngrams import NGrams
from sam.tasks.omniglot import Omniglot
from sam.tasks.recall import KeyValueRecall, NextItemRecall
from sam.tasks.repeat_copy import RepeatCopy
from sam.tasks.sequences import Sequences
from sam.tasks.series import Series
from sam.tasks.sort import PrioritySort
from sam.tasks.task import Batch, Measured, Stream, Task
from sam.tasks.task_registry import available_tasks, make_task, register_task, task_class
from sam.tasks.text import Text
from sam.tasks.traversal import Traversal

__all__ = [
    "MQAR",
    "BAbI",
    "Batch",
    "Copy",
    "DataTask",
    "KeyValueRecall",
    "Lookup",
    "Measured",
    "NGrams",
    "Needle",
    "NextItemRecall",
    "Omniglot",
    "PrioritySort",
    "RepeatCopy",
    "Sequences",
    "Series",
    "Stream",
    "Task",
    "Text",
    "Traversal",
    "VectorLookup",
    "available_tasks",
    "make_task",
    "register_task",
    "task_class",
]
