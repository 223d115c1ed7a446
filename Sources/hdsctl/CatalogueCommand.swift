import ArgumentParser
import Diagnostics

/// `hdsctl catalogue`: everything that the services may say, for the journal and for people.
struct CatalogueCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "catalogue",
        abstract: "Print all alarms, events, metrics and journal fields.",
        discussion: """
            journal is a catalog file of systemd: put it into /usr/lib/systemd/catalog and run
            journalctl --update-catalog; journalctl -x then explains each record and says what to do. page is the same
            for people, in Markdown.
            """)

    enum Form: String, ExpressibleByArgument, CaseIterable { case journal, page }

    @Argument(help: "journal or page.")
    var form: Form

    func run() { print(form == .journal ? Catalogue.journal : Catalogue.page, terminator: "") }
}
