import ArgumentParser
import Diagnostics
import Glibc

/// Runs a command's work; a diagnosed error becomes one line on standard error and an exit code by whose fault it is.
func reporting(_ work: () throws -> Void) throws {
    do {
        try work()
    } catch let error as DiagnosedError {
        complain("hdsctl: \(error)")
        throw ExitCode(exitCode(for: error.fault))
    }
}

/// A line on standard error, beside what a program reads from standard output.
func complain(_ text: String) {
    let line = Array("\(text)\n".utf8)
    _ = write(STDERR_FILENO, line, line.count)
}

/// The codes of `sysexits.h`.
private func exitCode(for fault: DiagnosedError.Fault) -> Int32 {
    switch fault {
    case .client: EX_DATAERR
    case .peer: EX_UNAVAILABLE
    case .internal: EX_SOFTWARE
    case .store: EX_IOERR
    case .configuration: EX_CONFIG
    }
}

/// A line beside the result, on standard error.
func announce(_ text: String) {
    let line = Array((Terminal.plain(text) + "\n").utf8)
    _ = write(STDERR_FILENO, line, line.count)
}
