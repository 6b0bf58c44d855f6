"""Co-activation: the two-level factor model of trials by shapes, from rows to factors, scores, groups of shapes.

    spec                 what to fit
    rows, sums           trials → a matrix of trials by shapes → the few blocks that the density needs
    fitting, rotation    draws → one name for each factor → the fit
    left_out, eigenvalues,
    choice               how many factors: trials and persons left out, eigenvalues against replicates
    scores               factor scores of trials and persons, as they are and as outcomes of other models
    partitions, trees    groups of shapes that move together, and how sure they are
    tables               what to read from a fit

The density and its sampler are `engines.factor_kernel` and `engines.factor_sampler`; `engines.factor_graph` is the
same model in plain PyMC. STATISTICS.md section 6.
"""
