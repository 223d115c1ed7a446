"""Validates a bag with the package bagit of PyPI, whose folder is the second argument; ends with 77 when it is not there."""
import sys

sys.path.insert(0, sys.argv[2])
try:
    import bagit
except ImportError:
    sys.exit(77)
bag = bagit.Bag(sys.argv[1])
bag.validate(processes=1)
print(bag.version, bag.info["External-Identifier"], bag.info["Payload-Oxum"], len(bag.payload_entries()))
