"""Transfer to other data sets: logistic regression on frozen features, each set by the metric of the field's table of twelve."""
