"""What users write and read: the custom resource as models, its rules, and the CRD made from them."""
