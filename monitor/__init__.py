"""The watch over the dishes: captures in, readings, alerts and removal plans out."""
