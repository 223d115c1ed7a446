import Glibc

func changeMode(_ path: String, _ mode: UInt32) -> Bool { chmod(path, mode) == 0 }
