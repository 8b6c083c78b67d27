"""Contrast of a page's colours, from its own style sheet: WCAG 2 AA, 4.5 : 1 for text and 3 : 1 for lines of charts.

    contrast.py PAGE.html
"""
import re
import sys


def luminance(color):
    def linear(value):
        value /= 255
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
    return sum(weight * linear(value) for weight, value in zip((0.2126, 0.7152, 0.0722), color))


def contrast(a, b):
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def rgb(text):
    return [int(text[i:i + 2], 16) for i in (1, 3, 5)]


page = open(sys.argv[1], encoding='utf-8').read()
style = re.search(r'<style>(.*?)</style>', page, re.S).group(1)
schemes = [dict(re.findall(r'--(\w+): (#[0-9a-f]{6})', block)) for block in re.findall(r':root \{(.*?)\}', style, re.S)]
light, dark = [scheme for scheme in schemes if scheme]
assert set(light) == set(dark), (light, dark)
text = set(re.findall(r'[ {]color: var\(--(\w+)\)', style))
grounds = set(re.findall(r'background: var\(--(\w+)\)', style))
heat = re.search(r'background: rgb\((\d+) (\d+) (\d+) / calc\(([.\d]+) \* var\(--share', style)
lines = set(re.findall(r'stroke="(#[0-9a-f]{6})"', page))
assert {'text', 'soft', 'better', 'worse'} <= text and {'page', 'tile'} <= grounds and heat and lines, 'another style sheet'

worst = []
for name, scheme in (('light', light), ('dark', dark)):
    for ground in grounds:
        worst += [(contrast(rgb(scheme[color]), rgb(scheme[ground])) / 4.5, f'{name}: {color} on {ground}') for color in text]
    worst += [(contrast(rgb(color), rgb(scheme['page'])) / 3.0, f'{name}: a line of {color}') for color in lines]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        alpha = float(heat.group(4)) * share
        cell = [alpha * int(heat.group(i + 1)) + (1 - alpha) * below for i, below in enumerate(rgb(scheme['page']))]
        worst.append((contrast(rgb(scheme['text']), cell) / 4.5, f'{name}: text on a cell of share {share}'))
low = [f'{what}: {ratio:.2f} of what it takes' for ratio, what in sorted(worst) if ratio < 1]
print('\n'.join(low) or f'{len(worst)} pairs, the lowest {min(worst)[0]:.2f} times what it takes: {min(worst)[1]}')
sys.exit(bool(low))
