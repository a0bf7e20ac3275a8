"""Every part of a platform is killed at random under mixed load; afterwards nothing acknowledged is lost, nothing is left."""
