package import ChildProcess
import Glibc

/// Another program of this machine, run to its end: by its full path, without this process's environment and descriptors,
/// with its input from memory, and for no longer than a limit. Blocks its thread.
package enum OtherProgram {
    package struct Ending: Sendable {
        /// The exit code; 128 and the signal for one that was ended by a signal.
        package let code: Int32
        package let output: [UInt8]

        package var text: String { String(decoding: output, as: UTF8.self) }
        /// The last line, for a message.
        package var lastLine: String {
            String(text.split(whereSeparator: \.isNewline).last?.prefix(300) ?? "no output")
        }
    }

    private static let maximumOutput = 1 << 20
    private static let environment = [
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "SYSTEMD_PAGER=cat", "SYSTEMD_COLORS=0",
    ]

    /// Nil when there is no such program, or it can not be started.
    package static func run(
        _ path: String, _ arguments: [String], input: UnsafeRawBufferPointer? = nil,
        output wanted: Child.Output = .everything, limit: Duration = .seconds(20)
    ) -> Ending? {
        guard access(path, X_OK) == 0,
            let child = Child(program: path, arguments: arguments, environment: environment, output: wanted)
        else { return nil }
        var output: [UInt8] = []
        let ending = child.run(input: input ?? .init(start: nil, count: 0), deadline: .now + limit) { more in
            output.append(contentsOf: more.prefix(maximumOutput - output.count))
            return output.count < maximumOutput
        }
        switch ending {
        case .exit(let code): return Ending(code: code, output: output)
        case .signal(let signal): return Ending(code: 128 + signal, output: output)
        case .full: return Ending(code: 128 + SIGKILL, output: output)
        // What it said so far is not whole.
        case .late: return Ending(code: 128 + SIGKILL, output: [])
        }
    }
}
