import ChildProcess
import Glibc
import Testing

@testable import TextExtraction

@Suite("A confined process")
struct ConfinementTests {
    private func probe(_ mode: String) throws -> [String: String] {
        let secret = try TemporaryFile("secret")
        guard let child = Child(program: Program.path("confinement-probe"), arguments: [secret.path, mode]) else {
            Issue.record("it does not start")
            return [:]
        }
        let (output, ending) = child.run(input: [], outputLimit: 65_536, deadline: .now.advanced(by: .seconds(120)))
        // It computes until its processor time is up.
        #expect(ending == .signal(SIGXCPU) || ending == .signal(SIGKILL))
        var results: [String: String] = [:]
        for line in String(decoding: output, as: UTF8.self).split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1)
            results[String(parts[0])] = String(parts[1].dropFirst())
        }
        return results
    }

    @Test("reads no file, reaches no network, starts nothing, signals nobody, and ends when its time is up")
    func isConfined() throws {
        #expect(
            try probe("alone") == [
                "before": "read true", "open descriptor": "false", "read": "false", "create": "false",
                "unlink": "false",
                "socket": "false", "unix socket": "false", "signal": "false", "start": "false", "memory": "false",
                "program file": "false", "raise limit": "false",
            ])
    }

    @Test("that may become another program reads programs, and still nothing of the service")
    func mayBecomeAnother() throws {
        #expect(
            try probe("another") == [
                "before": "read true", "open descriptor": "false", "read": "false", "create": "false",
                "unlink": "false",
                "socket": "false", "unix socket": "false", "signal": "false", "start": "false", "memory": "false",
                "program file": "true", "raise limit": "false",
            ])
    }
}
