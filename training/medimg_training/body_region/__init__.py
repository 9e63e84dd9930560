"""How the shipped bundle `body-region` is made: data, recipe, looks, card. `python -m medimg_training.body_region`."""
