"""Painted road scenes: world -> land, things, signs -> placement -> one picture with its annotations.

world      a camera above a road, air, light, and a pen that draws in metres
land       sky, hills, ground, road; and the light, blur and noise over the finished picture
things     trees, houses, cars, lamps, fences, gantries
signs      traffic signs and their lookalikes as vector shapes
placement  difficulty, which signs there are, and where they stand
painter    the plan of a scene and its painting, `render_scene`
"""
