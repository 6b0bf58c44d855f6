"""Where folders meet: the jobs that read a study, call the layers below, and write results into the study.

Nothing here computes a statistic. Long jobs take `progress`, a function of (done, total, label), and `workers`.
"""
