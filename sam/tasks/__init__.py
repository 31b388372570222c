"""Sources of training and evaluation batches; nothing in here knows a model."""

from sam.tasks.babi import BAbI
from sam.tasks.base import Batch, Task
from sam.tasks.copy import Copy
from sam.tasks.recall import KeyValueRecall, NextItemRecall
from sam.tasks.registry import available_tasks, make_task, register_task, task_class
from sam.tasks.sort import PrioritySort

__all__ = [
    "BAbI",
    "Batch",
    "Copy",
    "KeyValueRecall",
    "NextItemRecall",
    "PrioritySort",
    "Task",
    "available_tasks",
    "make_task",
    "register_task",
    "task_class",
]
