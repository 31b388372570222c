"""Sources of training and evaluation batches. They know nothing of models."""

from sam.tasks.babi import BAbI
from sam.tasks.copy import Copy
from sam.tasks.recall import KeyValueRecall, NextItemRecall
from sam.tasks.sort import PrioritySort
from sam.tasks.task import Batch, Task
from sam.tasks.task_registry import available_tasks, make_task, register_task, task_class

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
