"""From annotated intervals to segment labels, splits and class weights, and the leakage check."""
