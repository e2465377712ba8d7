"""What is ordered at vendors of numbers: stored before it is asked for, looked up when the answer is lost."""

from ringline.numbers.orders.worker import NumberOrders

__all__ = ["NumberOrders"]
