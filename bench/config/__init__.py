"""From YAML files and --set to frozen specs. Imports neither torch nor timm."""
