import ArgumentParser
import Diagnostics
import Glibc

/// Runs a command's work; a diagnosed error becomes one line on standard error and an exit code by whose fault it is.
func reporting(_ work: () throws -> Void) throws {
    do {
        try work()
    } catch let error as DiagnosedError {
        let line = Array("hdsctl: \(error)\n".utf8)
        _ = write(STDERR_FILENO, line, line.count)
        throw ExitCode(exitCode(for: error.fault))
    }
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
