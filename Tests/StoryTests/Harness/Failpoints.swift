import Foundation

/// The library of failpoints (Tests/Faults/failpoint.c), loaded into a service: it ends in the middle of its own work.
enum Failpoints {
    /// Compiled once; nil without a compiler.
    static let library = Task {
        let target = NSTemporaryDirectory() + "/hds-story-failpoint-\(getpid()).so"
        let source = Repository.root + "/Tests/Faults/failpoint.c"
        for compiler in ["cc", "clang"] {
            let built = try? await ChildProcess.run(
                compiler, ["-O1", "-shared", "-fPIC", "-o", target, source, "-ldl"], folder: NSTemporaryDirectory())
            if built != nil { return target as String? }
        }
        print("no C compiler is there to build Tests/Faults/failpoint.c: tests with it are skipped")
        return nil
    }

    enum How: String { case kill, torn, power }

    /// The environment of a service whose operation `number` on its files of that prefix, or towards that port, goes
    /// wrong, counted from when `armed` is there.
    static func environment(
        _ library: String, number: Int, _ how: How, files: String? = nil, port: Int? = nil, armed: String
    ) -> [String: String] {
        var variables = [
            "LD_PRELOAD": library, "HDS_FAIL_AT": "\(number)", "HDS_FAIL_HOW": how.rawValue,
            "HDS_FAIL_SEED": "\(number)",
            "HDS_FAIL_ARMED": armed,
        ]
        variables["HDS_FAIL_PATH"] = files
        variables["HDS_FAIL_PORT"] = port.map(String.init)
        return variables
    }
}
