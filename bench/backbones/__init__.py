"""Any timm classification model as a backbone that methods can mix inside of."""
