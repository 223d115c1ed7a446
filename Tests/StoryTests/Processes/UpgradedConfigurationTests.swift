import Foundation
import IndexerService
import KMSService
import Testing

@testable import ServiceRuntime
@testable import hds_auth
@testable import hds_core

extension StoryTests {
    /// What an earlier release documented as its configuration is still taken, key by key.
    @Suite("Configurations of earlier releases") struct UpgradedConfigurationTests {
        private static let fixtures = Repository.root + "/Tests/Fixtures"
        private static let releases = ((try? FileManager.default.contentsOfDirectory(atPath: fixtures)) ?? [])
            .filter { $0.hasPrefix("v") }.sorted()

        private func decode<Configuration: RuntimeConfiguration>(
            _ release: String, _ name: String, as type: Configuration.Type
        ) throws {
            let path = "\(Self.fixtures)/\(release)/config/\(name).yaml"
            let text = try String(contentsOfFile: path, encoding: .utf8)
            let _: Configuration = try ConfigurationFile.decode(Array(text.utf8), file: name, folder: "/etc/hds")
            // What stands there as a comment to be taken in, section by section.
            // The example is an http proxy, which takes no authorities, as its comment says.
            for section in Self.optionalSections(text.replacing("#   ca: /etc/hds/proxy-ca.pem\n", with: "")) {
                let whole = Self.without(Self.replaced[String(section.prefix { $0 != ":" })], text) + "\n" + section
                let _: Configuration = try ConfigurationFile.decode(
                    Array(whole.utf8), file: name, folder: "/etc/hds")
            }
        }

        /// Sections that stand instead of another.
        private static let replaced = ["master-key-token": "master-key"]

        /// The text without a section at the top; all of it without a name.
        private static func without(_ section: String?, _ text: String) -> String {
            guard let section else { return text }
            var isInside = false
            return text.split(separator: "\n", omittingEmptySubsequences: false).filter { line in
                if line.hasPrefix("\(section):") {
                    isInside = true
                } else if !line.hasPrefix(" ") {
                    isInside = false
                }
                return !isInside
            }.joined(separator: "\n")
        }

        /// Sections at the top that are commented out as a whole.
        static func optionalSections(_ text: String) -> [String] {
            var sections: [[Substring]] = []
            var isInside = false
            for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
                if line.firstMatch(of: /^# [a-z-]+:$/) != nil {
                    sections.append([line.dropFirst(2)])
                    isInside = true
                } else if isInside, line.hasPrefix("#   ") {
                    sections[sections.count - 1].append(line.dropFirst(2))
                } else {
                    isInside = false
                }
            }
            return sections.map { $0.joined(separator: "\n") + "\n" }
        }

        @Test("each service takes them", arguments: releases)
        func taken(_ release: String) throws {
            try decode(release, "hds-kms", as: KMSServiceConfiguration.self)
            try decode(release, "hds-indexer", as: IndexerConfiguration.self)
            try decode(release, "hds-auth", as: AuthConfiguration.self)
            try decode(release, "hds-core", as: CoreConfiguration.self)
        }

        @Test("control: there are sections to be taken in, and a key of nobody is refused")
        func control() throws {
            let text = try String(contentsOfFile: Repository.root + "/config/hds-kms.yaml", encoding: .utf8)
            #expect(Self.optionalSections(text).contains { $0.hasPrefix("backup:\n  ") })
            #expect(throws: ConfigurationError.self) {
                let _: KMSServiceConfiguration = try ConfigurationFile.decode(
                    Array((text + "\nno-such-key: 1\n").utf8), file: "hds-kms", folder: "/etc/hds")
            }
        }
    }
}
