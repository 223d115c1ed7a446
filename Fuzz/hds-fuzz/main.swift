import CLibFuzzer
import Glibc

// hds-fuzz TARGET [libFuzzer's options and folders]; hds-fuzz --list; hds-fuzz --seeds FOLDER. See docs/proof.md.
// libFuzzer starts this program again with its own options alone, to merge: the target comes in the environment then.
let variable = "HDS_FUZZ_TARGET"
var words = CommandLine.arguments
if let inherited = getenv(variable) { words.insert(String(cString: inherited), at: min(1, words.count)) }
guard words.count > 1 else {
    print("usage: hds-fuzz TARGET [options of libFuzzer, folders], hds-fuzz --list, hds-fuzz --seeds FOLDER")
    exit(2)
}
switch words[1] {
case "--list":
    for target in FuzzTarget.all { print(target.name) }
case "--seeds":
    guard words.count == 3 else {
        print("usage: hds-fuzz --seeds FOLDER")
        exit(2)
    }
    for target in FuzzTarget.all { try target.writeSeeds(below: words[2]) }
default:
    guard let target = FuzzTarget.all.first(where: { $0.name == words[1] }) else {
        print("there is no target \(words[1]); hds-fuzz --list names them")
        exit(2)
    }
    setenv(variable, target.name, 1)
    RunningTarget.body = target.body
    // The target's name is for this program, the rest for libFuzzer.
    var rest: [UnsafeMutablePointer<CChar>?] = ([words[0]] + words[2...]).map { strdup($0) } + [nil]
    var count = Int32(rest.count - 1)
    exit(
        rest.withUnsafeMutableBufferPointer { buffer in
            var start: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = buffer.baseAddress
            return LLVMFuzzerRunDriver(&count, &start) { data, size in
                RunningTarget.body(Array(UnsafeBufferPointer(start: data, count: size)))
                return 0
            }
        })
}
