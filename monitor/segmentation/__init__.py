"""From a picture to areas, colonies and regions, in a supervised process of its own."""
