"""From a look to the report: runs the rotation loop for one RotatedSecret and tells people what came of it."""
