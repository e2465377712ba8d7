"""Mail: handed to a server by SMTP in the background, or printed in the log where none is set up."""

from ringline.mail.letter import EmailAddress, Letter, check_address
from ringline.mail.mailer import Mailer
from ringline.mail.server import MailServer

__all__ = ["EmailAddress", "Letter", "MailServer", "Mailer", "check_address"]
