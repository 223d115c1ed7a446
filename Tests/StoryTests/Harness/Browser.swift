import Foundation
import Glibc
import Testing

/// A real Chromium without a window.
enum Browser {
    private static let places: [String] = ["/usr/bin/chromium", "/usr/bin/google-chrome"]
    private static let program = places.first { access($0, X_OK) == 0 }
    static var isHere: Bool { program != nil }

    /// Opens a page, lets it work for 12 s of its own time, and gives what the browser printed.
    static func open(_ url: String, in folder: String, _ arguments: [String]) async throws -> String {
        let chromium = try #require(program)
        let user = folder + "/browser"
        try? FileManager.default.createDirectory(atPath: user, withIntermediateDirectories: true)
        return try await ChildProcess.run(
            "/usr/bin/env",
            [
                "HOME=\(user)", "timeout", "-k", "5", "60", chromium, "--headless", "--no-sandbox", "--disable-gpu",
                "--disable-dev-shm-usage", "--disable-extensions", "--no-first-run", "--user-data-dir=\(user)",
                "--hide-scrollbars", "--window-size=1120,1500", "--virtual-time-budget=12000",
            ] + arguments + [url], folder: folder, within: .seconds(90))
    }
}
