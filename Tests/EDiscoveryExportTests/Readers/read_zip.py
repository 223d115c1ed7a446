"""Opens ZIP volumes with Python's zipfile, tests each and unpacks all of them to the folder that is the first argument."""
import json
import sys
import zipfile

found = []
for path in sys.argv[2:]:
    with zipfile.ZipFile(path) as volume:
        assert volume.testzip() is None
        infos = volume.infolist()
        assert [i.filename for i in infos] == sorted(i.filename for i in infos), path
        assert all(i.date_time == (1980, 1, 1, 0, 0, 0) for i in infos), path
        assert all(".." not in i.filename and not i.filename.startswith("/") for i in infos), path
        volume.extractall(sys.argv[1])
        found.append([i.filename for i in infos])
assert sum(map(len, found)) == len(set().union(*found)), "a name twice"
json.dump(found, sys.stdout)
