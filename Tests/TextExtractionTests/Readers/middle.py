"""Prints red, green and blue of the pixel in the middle of the PNG on the standard input."""
import struct, sys, zlib

png = sys.stdin.buffer.read()
place, data, channels = 8, b"", 3
while place < len(png):
    length, name = struct.unpack(">I4s", png[place:place + 8])
    content = png[place + 8:place + 8 + length]
    if name == b"IHDR":
        width, height, depth, kind = struct.unpack(">IIBB", content[:10])
        channels = {0: 1, 2: 3, 6: 4}[kind]
    if name == b"IDAT":
        data += content
    place += 12 + length
rows, before, raw = [], bytearray(width * channels), zlib.decompress(data)
for y in range(height):
    start = y * (width * channels + 1)
    filtered, row = raw[start], bytearray(raw[start + 1:start + 1 + width * channels])
    for x in range(len(row)):
        a = row[x - channels] if x >= channels else 0
        b, c = before[x], before[x - channels] if x >= channels else 0
        p = a + b - c
        paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
        row[x] = (row[x] + (0, a, b, (a + b) // 2, paeth)[filtered]) & 255
    rows.append(row)
    before = row
middle = rows[height // 2][width // 2 * channels:][:channels]
print(*(middle * 3 if channels == 1 else middle[:3]))
