"""The watches: which RotatedSecrets to look at when something changes. Only `informer` imports kopf."""
