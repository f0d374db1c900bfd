"""Painted road scenes: world -> land, things, signs -> placement -> one picture with its annotations.

world      a camera above a road, air, light, and a pen that draws in metres
land       sky, hills, ground, road; and the light, blur and noise over the finished picture
things     trees, houses, cars, lamps, fences, gantries
sheet      a transparent sheet, on which signs are drawn once and large
german     the signs of GTSDB
signs      all traffic signs and their lookalikes, and how they look from the camera
placement  difficulty, which signs there are, and where they stand
painter    the plan of a scene and its painting, `render_scene`
"""
