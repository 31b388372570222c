"""The hostile world: what happens to a library that runs overnight on other people's machines.

Each module here is one subject. It has

    FULL: int                                    how many tries `make attack` makes
    attack(count, seed) -> dict[str, int]        makes `count` tries, and counts how they ended

and every try follows from `seed` and its number alone. What must not happen (a wrong number, a
traceback, a crash, a file lost) raises AssertionError with the try's number in it. The tests
`test_<subject>.py` beside them make a few tries in every run of the suite.
"""
