"""Is it whole? Which files belong together? What does its metadata say?"""
