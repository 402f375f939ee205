"""A class looks at runs and lessons in browsers: pages without a kernel, served on the network."""

from workbench.classroom.lessons import LessonError
from workbench.classroom.pages import ClassroomError, build_classroom
from workbench.classroom.serving import lan_address, page_server

__all__ = ["ClassroomError", "LessonError", "build_classroom", "lan_address", "page_server"]
