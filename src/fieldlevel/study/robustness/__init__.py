"""Whether networks hold on suites that they have never seen: `fieldlevel robustness`.

    folds -> networks chosen by inner leave-one-out -> full ones, tested once -> ratios to an oracle -> verdicts

A suite is left out, networks are trained on the others and tested on it, beside the oracle: a network of the same
recipe, rows and steps that was trained on the suite itself. What is left out is touched by the test alone: methods and
their hyper-parameters are chosen by leaving out one of the others in turn, on rows of the training set that the
networks of the choice are not trained on (DomainBed, arXiv:2007.01434, says why it must be so).
"""
