"""Questions of our own about bAbI's stories, each of which a single sentence answers.

Tasks 15, 16, 17 and 19 ask for what follows from two sentences, and no training question asks for
one of them alone. So a network gains nothing from finding the first before it finds the second.
Other tasks have such an easier one beside them in the release: 1 beside 2, 4 beside 19.
"""

import random
import re

TASKS = 15, 16, 17, 19
_ASKED = 8  # questions a story

_KIND = re.compile(r"(?P<name>\w+) is an? (?P<kind>\w+)\.")
_WAY = re.compile(r"The (?P<one>\w+) is (?P<way>north|east|south|west) of the (?P<other>\w+)\.")
_SIDE = re.compile(
    r"The (?P<one>[\w ]+) is (?P<side>above|below|to the left of|to the right of) "
    r"the (?P<other>[\w ]+)\."
)
_BACK = {"north": "south", "south": "north", "east": "west", "west": "east"}
_OPPOSITE = {"above": "below", "to the left of": "to the right of"}
_OPPOSITE |= {other: one for one, other in _OPPOSITE.items()}


def one_sentence_questions(text: str, task: int) -> str:
    """Tells all stories of a file again, with other questions after their statements.

    Args:
        text: a training file of the release.
        task: its number, one of `TASKS`.

    Returns:
        As many stories in the same order and form, each with its statements and up to 8 of the
            questions that one of them answers, in an order that is drawn for each story and is the
            same at every call.
    """
    told: list[str] = []
    for place, story in enumerate(_stories(text)):
        asked = [one for statement in story for one in _questions(statement, task)]
        random.Random(place).shuffle(asked)
        lines = [*story, *asked[:_ASKED]]
        told += [f"{number} {line}" for number, line in enumerate(lines, start=1)]
    return "\n".join(told)


def _stories(text: str) -> list[list[str]]:
    """The statements of each story."""
    stories: list[list[str]] = []
    for line in text.splitlines():
        number, _, rest = line.partition(" ")
        if number == "1":
            stories.append([])
        if stories and "\t" not in rest:
            stories[-1].append(rest)
    return stories


def _questions(statement: str, task: int) -> list[str]:
    """Questions that the statement answers, each with its answer."""
    if task in (15, 16):
        found = _KIND.fullmatch(statement)
        # "Greg is green." has no article, so it is not asked about.
        return [f"What is {found['name']}?\t{found['kind']}\t1"] if found else []
    if task == 19:
        if not (found := _WAY.fullmatch(statement)):
            return []
        one, way, other = found.groups()
        return [
            f"What is {way} of the {other}?\t{one}\t1",
            f"What is the {one} {way} of?\t{other}\t1",
            f"How do you go from the {one} to the {other}?\t{_BACK[way][0]}\t1",
            f"How do you go from the {other} to the {one}?\t{way[0]}\t1",
        ]
    if not (found := _SIDE.fullmatch(statement)):
        return []
    one, side, other = found.groups()
    back = _OPPOSITE[side]
    return [
        f"Is the {one} {side} the {other}?\tyes\t1",
        f"Is the {other} {side} the {one}?\tno\t1",
        f"Is the {one} {back} the {other}?\tno\t1",
        f"Is the {other} {back} the {one}?\tyes\t1",
    ]
