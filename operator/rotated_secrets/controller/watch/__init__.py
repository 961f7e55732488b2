"""What the watches see: which RotatedSecret to look at when something changed. Only `informer` imports kopf."""
