import Diagnostics
import Glibc

/// A drill that is a script of the checkout that this program was built in, or of the package hds-reference-core: found,
/// and run in place of this process.
struct DrillScript {
    /// Where the package puts scripts.
    private static let installed = "/usr/share/hds"
    let name: String

    init(_ name: String) { self.name = name }

    /// Does not come back when the script is started.
    func run(_ arguments: [String]) throws {
        let script = try path()
        var words: [UnsafeMutablePointer<CChar>?] = ([script] + arguments).map { strdup($0) } + [nil]
        execv(script, &words)
        throw DiagnosedError(
            "drill-script", fault: .configuration, "\(script) can not be started",
            found: String(cString: strerror(errno)))
    }

    /// The folder of this program.
    static var folder: String {
        var path = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &path, path.count - 1)
        let program = String(decoding: path[..<max(0, count)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return String(program[..<(program.lastIndex(of: "/") ?? program.startIndex)])
    }

    private func path() throws(DiagnosedError) -> String {
        var folder = Self.folder[...]
        var places: [String] = []
        while !folder.isEmpty {
            places.append(String(folder))
            folder = folder[..<(folder.lastIndex(of: "/") ?? folder.startIndex)]
        }
        for place in places + [Self.installed] {
            let script = place + "/deploy/" + name
            if access(script, X_OK) == 0 { return script }
        }
        throw DiagnosedError(
            "drill-script", fault: .configuration, "the drill is not on this machine",
            expected: "deploy/\(name) in a folder above this program or in \(Self.installed)", found: "none",
            hint: "install hds-reference-core, or run it from a checkout: deploy/\(name)")
    }
}
