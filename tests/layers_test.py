#!/usr/bin/env python3
"""Checks what the linker does not see: the includes of layers, those of headers among them.

    layers_test.py SOURCE_FOLDER LAYERS_FILE

LAYERS_FILE has a line a layer, `name | LINK_LIBRARIES | INTERFACE_LINK_LIBRARIES`, in the order of CMakeLists.txt.
- The order is that of the table in docs/architecture.md.
- A folder of src/ includes folders before it, and of these only layers that it links.
- A library that a layer includes is linked, and publicly (by it or by a layer that it links) if a header includes it.
"""
import pathlib
import re
import sys

# How an include starts -> the target that must be linked.
LIBRARIES = {
    'CLI/': 'CLI11::CLI11',
    'archive.h': 'PkgConfig::libarchive',
    'archive_entry.h': 'PkgConfig::libarchive',
    'boost/': 'Boost::headers',
    'fmt/': 'fmt::fmt',
    'hwloc.h': 'PkgConfig::hwloc',
    'libxml/': 'PkgConfig::libxml2',
    'mpi.h': 'MPI::MPI_C',
    'minizip/': 'PkgConfig::minizip',
    'nlohmann/': 'nlohmann_json::nlohmann_json',
    'openssl/': 'PkgConfig::OpenSSL',
    'pcre2.h': 'PkgConfig::pcre2',
    'simdjson.h': 'simdjson::simdjson',
    'spdlog/': 'spdlog::spdlog',
    'toml++/': 'PkgConfig::tomlplusplus',
    'utf8proc.h': 'PkgConfig::utf8proc',
    'xxhash.h': 'PkgConfig::xxhash',
    'zlib.h': 'PkgConfig::zlib',
    'zstd.h': 'PkgConfig::zstd',
}
# The one file that includes it is left out where it is not found or wanted.
OPTIONAL = {'mpi.h': 'src/dist/mpi.cpp', 'hwloc.h': 'src/base/hwloc_place.cpp'}
INCLUDE = re.compile(r'\s*#\s*include\s+([<"])([^>"]+)[>"]')


def read_links(path):
    """layer -> (targets that it links, targets that it passes on)."""
    links = {}
    for line in path.read_text().splitlines():
        layer, own, passed = (part.strip() for part in line.split('|'))
        targets = lambda text: {t.lower() for t in text.split(';') if t and not t.startswith('$<')}
        links[layer] = targets(own), targets(passed)
    return links


def passed_on(links, layer):
    """What linking this layer brings along."""
    found = {f'troupe::{layer}'} | links[layer][1]
    for other in links:
        if other != layer and f'troupe::{other}' in links[layer][1]:
            found |= passed_on(links, other)
    return found


def faults_of(root, links):
    layers = list(links)
    table = re.findall(r'^\| `(\w+)` \|', (root / 'docs/architecture.md').read_text(), re.MULTILINE)
    if table != layers:
        yield f'docs/architecture.md: expected the layers of CMakeLists.txt {layers}, got {table}'
    folders = sorted(p.name for p in (root / 'src').iterdir() if p.is_dir())
    if folders != sorted(layers):
        yield f'src: expected the folders {sorted(layers)}, got {folders}'
    files = 0
    for folder in [root / 'include' / 'troupe'] + [root / 'src' / layer for layer in layers]:
        layer = folder.name
        public = {'troupe::troupe'} if layer == 'troupe' else passed_on(links, layer)
        linked = public if layer == 'troupe' else public.union(
            links[layer][0], *(passed_on(links, other) for other in layers if f'troupe::{other}' in links[layer][0]))
        before = [] if layer == 'troupe' else layers[:layers.index(layer)]
        for path in sorted(p for p in folder.rglob('*') if p.suffix in ('.h', '.cpp', '.inc')):
            files += 1
            for number, line in enumerate(path.read_text().splitlines(), 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                kind, name = match.groups()
                where = f'{path.relative_to(root)}:{number}: {name}'
                if kind == '"':
                    other = name.split('/')[0]
                    if other in (layer, 'troupe'):
                        continue
                    if other not in before:
                        yield f'{where}: expected a folder before {layer} ({", ".join(before)}), got {other}'
                    elif f'troupe::{other}' not in linked:
                        yield f'{where}: expected a layer that {layer} links, got {other} (add it to DEPENDS)'
                    continue
                target = next((t for start, t in LIBRARIES.items() if name.startswith(start)), None)
                if target is None:
                    if '/' in name and name.split('/')[0] not in ('sys', 'linux', 'arpa', 'netinet'):
                        yield f'{where}: expected a library of this test\'s list (add it to LIBRARIES)'
                elif target.lower() not in linked and OPTIONAL.get(name) != str(path.relative_to(root)):
                    yield f'{where}: expected {target} among the libraries of {layer}'
                elif path.suffix != '.cpp' and layer != 'cli' and target.lower() not in public:
                    yield f'{where}: expected {target} among PUBLIC_LIBRARIES of {layer}, since a header includes it'
    if not files:
        yield f'{root}: expected source files, got none'


def main():
    root, links = pathlib.Path(sys.argv[1]), read_links(pathlib.Path(sys.argv[2]))
    faults = list(faults_of(root, links))
    print('\n'.join(faults) or 'every include follows the layers')
    sys.exit(bool(faults))


main()
