"""bAbI as the SAM paper has it: percent of the test questions wrong (its tables 1 and 2)."""

# What the columns below are: means of 15 runs, and the run that was the best in validation.
COLUMNS = ("SAM paper: LSTM, mean", "SAM, mean", "SAM, best run", "SDNC, mean")
# By the number of the task (Weston et al. 2015): its name, and the columns.
TASKS = {
    1: ("1 supporting fact", 30.9, 4.7, 0.0, 0.0),
    2: ("2 supporting facts", 57.4, 30.9, 0.2, 7.1),
    3: ("3 supporting facts", 53.0, 31.4, 0.5, 9.4),
    4: ("2 argument relations", 0.7, 0.2, 0.0, 0.1),
    5: ("3 argument relations", 4.9, 1.0, 0.7, 0.9),
    6: ("yes/no questions", 18.8, 3.9, 0.0, 0.1),
    7: ("counting", 18.2, 7.3, 1.9, 1.6),
    8: ("lists/sets", 20.9, 3.6, 0.4, 0.5),
    9: ("simple negation", 19.4, 3.8, 0.1, 0.0),
    10: ("indefinite knowledge", 33.0, 5.7, 0.2, 0.3),
    11: ("basic coreference", 15.9, 2.6, 0.0, 0.0),
    12: ("conjunction", 7.0, 2.9, 0.1, 0.2),
    13: ("compound coreference", 9.1, 1.3, 0.0, 0.1),
    14: ("time reasoning", 57.0, 15.0, 4.3, 5.6),
    15: ("basic deduction", 48.1, 5.5, 0.0, 3.6),
    16: ("basic induction", 53.8, 53.6, 53.1, 53.0),
    17: ("positional reasoning", 40.8, 20.4, 16.0, 12.4),
    18: ("size reasoning", 7.3, 3.0, 1.1, 1.6),
    19: ("path finding", 74.4, 33.7, 2.6, 30.8),
    20: ("agent's motivations", 1.7, 0.0, 0.0, 0.0),
}
# The training file of this task is not that of the paper; means leave it out, as evaluations do.
APART = 3
